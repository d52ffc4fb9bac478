"""From what is wanted to what the kernel shows: graph, observation, plan, apply."""
