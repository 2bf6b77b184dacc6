"""Which ranks live in this process, and how partial sums of all ranks meet."""

import os

import torch
import torch.distributed as dist


class Ranks:
    """All ranks in this process, on one device."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.local = list(range(count))

    def reduce(self, parts: list[torch.Tensor]) -> torch.Tensor:
        total = parts[0]
        for part in parts[1:]:
            total = total.add_(part)
        return total

    def concat(self, parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(parts, -1)


class ProcessRanks(Ranks):
    """One rank in each process of the default group. Every process runs the same engine over the
    same requests, and its kvkeep takes the same decisions."""

    def __init__(self) -> None:
        self.count = dist.get_world_size()
        self.local = [dist.get_rank()]

    def reduce(self, parts: list[torch.Tensor]) -> torch.Tensor:
        dist.all_reduce(parts[0])
        return parts[0]

    def concat(self, parts: list[torch.Tensor]) -> torch.Tensor:
        whole = [torch.empty_like(parts[0]) for _ in range(self.count)]
        dist.all_gather(whole, parts[0].contiguous())
        return torch.cat(whole, -1)


def ranks_here(count: int) -> tuple[Ranks, str]:
    """The ranks of this process and its device: one of each under `torchrun`, all otherwise."""
    cuda = torch.cuda.is_available()
    if "WORLD_SIZE" not in os.environ:
        return Ranks(count), "cuda" if cuda else "cpu"
    if int(os.environ["WORLD_SIZE"]) != count:
        raise SystemExit(f"the model has {count} ranks: torchrun --nproc-per-node {count}")
    local = int(os.environ["LOCAL_RANK"])
    if cuda:
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if cuda else "gloo")
    return ProcessRanks(), f"cuda:{local}" if cuda else "cpu"
