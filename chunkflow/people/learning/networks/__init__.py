"""Networks that learn from what people marked: trained, scored, and told of on a page."""
