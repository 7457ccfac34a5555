// The published schemas of the resources that are read, pinned. No program is built from here.
module pilotage.dev/tests/schemas

go 1.26.0

require istio.io/api v1.31.1
