"""What a report says, a module for each group of its sections."""
