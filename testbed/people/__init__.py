"""People of a lab, played by threads, and what befalls the service that they use."""
