//! JSON to protobuf and back: no text and no bytes make it panic, and what was read once is read the same again.
//!
//! The first byte chooses the message, and the second whether the rest is its JSON or its encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_protos::json::{any_from_json, any_to_json};
use pilotage_server::protocol::ResourceType;

fuzz_target!(|data: &[u8]| {
    let [chosen, form, data @ ..] = data else { return };
    let known = ResourceType::KNOWN;
    let url = known[usize::from(*chosen) % known.len()].type_url();
    let body = if form % 2 == 0 {
        let Ok(json) = serde_json::from_slice(data) else { return };
        let Ok(body) = any_from_json(url, &json) else { return };
        body.to_vec()
    } else {
        data.to_vec()
    };
    let Ok(json) = any_to_json(url, &body) else { return };
    // What is confidential does not come back, so that only the second reading can be compared.
    let Ok(again) = any_from_json(url, &json) else {
        assert!(form % 2 == 1, "what was written is not read: {json}");
        return;
    };
    assert_eq!(any_to_json(url, &again).expect("what was read is written"), json);
});
