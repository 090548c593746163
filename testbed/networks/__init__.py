"""Networks trained and tested on real volumes, and put together with features of what `segment` finds."""
