//! HTTP client with TLS, protobuf writing and compression, shared by both directions.
