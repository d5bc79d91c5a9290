//! Content by digest in an OCI image layout: ingest, verify, name, collect.
