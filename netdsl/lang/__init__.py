"""Declaring: stacks, components, resources, values and names. Pure."""
