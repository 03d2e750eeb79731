# SPDX-License-Identifier: MIT
"""Weights from files: fair-esm checkpoints and Hugging Face models in safetensors. No code in a file ever runs."""
