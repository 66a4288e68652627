"""Parts of the module Cardiac AI Segmentation: its parameters, its logic and its self test."""
