"""Image stacks as microscopes and other programs save them."""
