//! A real Kubernetes API for tests: kube-apiserver and etcd, built or found, started, and reached by a client.
//!
//! There is no controller and no node: what a test does not write is not there. A test begins with
//! [`ControlPlane::shared`], or with [`ControlPlane::start`] where it kills the API server or deletes what others use.

mod assets;
mod audit;
mod client;
mod control_plane;
mod identity;
mod installation;
mod kubectl;
mod observer;
mod schemas;
mod signing;
mod toolchain;

pub use assets::{Assets, KUBERNETES_VERSION};
pub use audit::Audit;
pub use client::{
    AnyObject, Namespace, apply, apply_cluster, apply_object, create_crds, delete_crd, resource, token,
};
pub use control_plane::{ControlPlane, Options, own_address};
pub use identity::Identity;
pub use installation::{Installation, ROLE};
pub use kubectl::kubectl;
pub use observer::{Observer, Said};
pub use schemas::{OUR_CRDS, istio_crds, openapi};
pub use toolchain::{GO_VERSION, go};
