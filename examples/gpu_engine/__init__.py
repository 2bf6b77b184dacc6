"""A small inference engine on PyTorch and Triton whose KV pages are managed by kvkeep."""
