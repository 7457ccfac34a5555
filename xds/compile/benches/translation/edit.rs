//! One edit after another of one kind, each taken in and translated.

use pilotage_watcher::{Object, Touched, World};

use crate::mesh::Mesh;

/// An edit that can be made again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Endpoint,
    VirtualService,
    DestinationRule,
    Service,
}

impl Edit {
    pub(crate) const ALL: [Self; 4] =
        [Self::Endpoint, Self::VirtualService, Self::DestinationRule, Self::Service];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Endpoint => "one endpoint",
            Self::VirtualService => "one VirtualService",
            Self::DestinationRule => "one DestinationRule",
            Self::Service => "one Service, new or gone",
        }
    }

    /// Makes the edit for the `round`th time and says what it touches.
    pub(crate) fn make(self, mesh: &Mesh, world: &mut World, round: usize) -> Touched {
        // In the middle, so that nothing is won by being first or last.
        let index = mesh.services / 20 * 10;
        match self {
            Self::Endpoint => world.apply(mesh.slice(index, round)),
            Self::VirtualService => world.apply(mesh.route(index, round)),
            Self::DestinationRule => world.apply(mesh.rule(index, round)),
            Self::Service => {
                let object: Object = mesh.service(mesh.services);
                match round.is_multiple_of(2) {
                    true => world.delete(&object.key()),
                    false => world.apply(object),
                }
            }
        }
    }
}
