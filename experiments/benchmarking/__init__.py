"""What the benchmark times: the machine, the stages, and their reference implementation."""
