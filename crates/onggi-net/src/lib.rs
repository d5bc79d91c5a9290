//! Container networks: bridges, addresses, nftables.
