//! Pilotage and a real API server: what is read there, what is written there, who is served, and what is survived.
//!
//! One executable, since each that is linked costs more time than most of these tests. Tests that only read and write in a
//! namespace of their own share a control plane; those that kill it or change what others see have their own.

#![allow(clippy::unwrap_used)]

mod kubernetes {
    mod and_folder;
    mod definitions;
    mod deploy;
    mod goldens;
    mod outage;
    mod role;
    mod secrets;
    mod source;
    mod status;
    mod survival;
    mod trust;
}
