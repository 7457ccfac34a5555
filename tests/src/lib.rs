//! What the whole-system tests share: the processes, the folder of manifests, and waiting for conditions.

#![forbid(unsafe_code)]
