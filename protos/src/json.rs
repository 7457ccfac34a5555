//! JSON ⇄ protobuf through the descriptor pool.
