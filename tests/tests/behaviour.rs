//! What operators write, as it shows in calls: what no configuration dump proves.

mod behaviour {
    mod balancing;
    mod faults;
    mod proxyless;
    mod retries;
    mod streams;
}
