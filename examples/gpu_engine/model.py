"""One forward pass of the decoder over a batch, the same code for every backend and rank."""

import torch

from .batch import Batch
from .config import Config
from .pages import Pages
from .ranks import Ranks
from .weights import Weights, make_weights


class Model:
    def __init__(self, cfg: Config, ranks: Ranks, device: str, seed: int = 0) -> None:
        if device == "cpu":
            from . import ops_torch as ops
        else:
            from . import ops_triton as ops
        self.cfg, self.ranks, self.device, self.ops = cfg, ranks, device, ops
        self.weights: list[Weights] = []
        for rank in ranks.local:
            self.weights.append(make_weights(cfg, rank, device, seed))
            # Ranks on one device share what is not sharded.
            if len(self.weights) > 1:
                self.weights[-1] = Weights(
                    self.weights[0].embedding, self.weights[-1].layers,
                    self.weights[-1].norm, self.weights[-1].head,
                )
        self.pages = [Pages(cfg, device) for _ in ranks.local]
        half = torch.arange(0, cfg.head_dim, 2, device=device, dtype=torch.float64)
        angles = torch.arange(cfg.max_model_len, device=device, dtype=torch.float64)[:, None]
        angles = angles * cfg.rope_theta ** (-half / cfg.head_dim)
        self.cos, self.sin = angles.cos().float(), angles.sin().float()

    def forward(self, batch: Batch) -> torch.Tensor:
        """Writes the batch's KV to its slots. Returns float32 logits, (max_seqs, vocab): row i
        belongs to the token in row `batch.last[i]`."""
        cfg, ops, first = self.cfg, self.ops, self.weights[0]
        x = first.embedding[batch.tokens]
        delta = None
        for i in range(cfg.layers):
            h = ops.add_rms_quant(x, delta, first.layers[i].norm_in, cfg.eps)
            delta = self.ranks.reduce(
                [self._attention(i, h, w, p, batch) for w, p in zip(self.weights, self.pages)]
            )
            h = ops.add_rms_quant(x, delta, first.layers[i].norm_post, cfg.eps)
            delta = self.ranks.reduce([self._mlp(h, w.layers[i]) for w in self.weights])
        x = x[batch.last]
        h = ops.add_rms_quant(x, delta[batch.last], first.norm, cfg.eps)
        return self.ranks.concat([ops.linear(*h, w.head) for w in self.weights]).float()

    def _attention(self, i, h, weights, pages, batch):
        cfg, ops, layer = self.cfg, self.ops, weights.layers[i]
        qkv = ops.linear(*h, layer.qkv)
        q = ops.rope_store(
            qkv, i, pages, batch, layer.norm_q, layer.norm_k, self.cos, self.sin, cfg.eps,
            cfg.rank_q_heads,
        )
        return ops.linear(*ops.attention_quant(q, i, pages, batch), layer.out)

    def _mlp(self, h, layer):
        ops = self.ops
        return ops.linear(*ops.swiglu_quant(ops.linear(*h, layer.gate_up)), layer.down)
