"""The lab: what the demo and the tests need around the product, made once and kept in a cache directory."""
