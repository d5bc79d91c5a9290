//! Images: pull, push, tag, save, load, import, bootstrap, prune.
