"""Vision-language models of transformers that rerank."""
