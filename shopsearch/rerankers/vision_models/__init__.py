"""The vision-language models that rerank."""
