//! What the black-box tests share: a scratch onggi, images, registries, leak checks.
