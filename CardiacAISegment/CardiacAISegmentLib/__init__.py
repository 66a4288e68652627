"""Parts of the module Cardiac AI Segmentation: its parameters, its logic, sections of its panel, its self tests."""
