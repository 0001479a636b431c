"""What the benchmark times: the machine, the stages, and the published way to compute them."""
