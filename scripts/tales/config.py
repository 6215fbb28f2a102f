from dataclasses import dataclass
@dataclass(frozen=True)
class Shape:
    n_vocab: int
    n_context: int
    width: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    ffn_width: int
    rope_theta: float = 10000.0
    norm_epsilon: float = 1e-5
    @property
    def head_width(self): return self.width//self.n_heads
