//! Endpoints and secrets that changed in one event with configuration: they are published with it, and not ahead of it.
//!
//! A Service that is renamed takes its endpoints along. Told at once, as endpoints otherwise are, clients would lose
//! those of the old name while their routes still lead to it.

use pilotage_watcher::Touched;

/// What the lane of endpoints leaves to the lane of configuration.
#[derive(Debug, Default)]
pub(super) struct Entwined {
    /// Came with configuration that waits to be compiled.
    pending: Touched,
    /// Came with configuration that is being compiled.
    compiling: Touched,
}

impl Entwined {
    /// Takes in what one event changed.
    pub(super) fn note(&mut self, touched: &Touched) {
        if !touched.config.is_empty() {
            self.pending.endpoints.extend(touched.endpoints.iter().cloned());
            self.pending.secrets.extend(touched.secrets.iter().cloned());
        }
    }

    /// A compile begins, of everything that was noted.
    pub(super) fn started(&mut self) {
        self.compiling = std::mem::take(&mut self.pending);
    }

    /// The compile has been published, or has failed.
    pub(super) fn finished(&mut self) {
        self.compiling = Touched::default();
    }

    /// The endpoints and secrets that may be published beside the configuration that clients have now.
    pub(super) fn free(&self, touched: &Touched) -> Touched {
        without(&self.free_of_pending(touched), &self.compiling)
    }

    /// Those that may be published with the compile that is under way.
    pub(super) fn free_of_pending(&self, touched: &Touched) -> Touched {
        without(touched, &self.pending)
    }
}

fn without(touched: &Touched, held: &Touched) -> Touched {
    Touched {
        endpoints: &touched.endpoints - &held.endpoints,
        secrets: &touched.secrets - &held.secrets,
        ..Touched::default()
    }
}

#[cfg(test)]
mod tests {
    use pilotage_watcher::{Kind, ObjectKey};

    use super::*;

    fn endpoints(names: &[&str]) -> Touched {
        let endpoints = names.iter().map(|&name| ("demo".into(), name.into())).collect();
        Touched { endpoints, ..Touched::default() }
    }

    #[test]
    fn what_came_with_configuration_waits_until_that_is_published() {
        let mut entwined = Entwined::default();
        entwined.note(&endpoints(&["alone"]));
        let config = [ObjectKey::new(Kind::Service, "demo", "renamed")].into();
        entwined.note(&Touched { config, ..endpoints(&["renamed"]) });
        let both = endpoints(&["alone", "renamed"]);
        assert_eq!(entwined.free(&both).endpoints, endpoints(&["alone"]).endpoints);

        entwined.started();
        assert_eq!(entwined.free(&both).endpoints, endpoints(&["alone"]).endpoints);
        assert_eq!(entwined.free_of_pending(&both).endpoints, both.endpoints, "the compile has both");

        entwined.finished();
        assert_eq!(entwined.free(&both).endpoints, both.endpoints);
    }
}
