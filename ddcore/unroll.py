"""Training as a function: many steps of a network forward, and their exact derivatives back."""
