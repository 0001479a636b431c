"""What the benchmark times: the machine, the stages, and a reference implementation of them."""
