//! The distribution protocol, client side: authentication, mirrors, manifests, blobs.
