"""The decoder, its training, and what it writes. The only stage that imports JAX."""

from tunix_eval.model.checkpoints import restore, save
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Decoder, initial_params
from tunix_eval.model.generation import FlaxModel
from tunix_eval.model.loss import next_token_nll
from tunix_eval.model.optimizer import build_optimizer, learning_rates
from tunix_eval.model.trainer import FlaxTrainer
from tunix_eval.model.weights import weights_sha256

__all__ = [
    "Decoder",
    "DecoderConfig",
    "FlaxModel",
    "FlaxTrainer",
    "build_optimizer",
    "initial_params",
    "learning_rates",
    "next_token_nll",
    "restore",
    "save",
    "weights_sha256",
]
