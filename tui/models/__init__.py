"""What screens show and change, without Textual: tested without an application."""
