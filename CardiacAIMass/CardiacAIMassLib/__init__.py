"""Parts of the module Cardiac AI LV Mass: its parameters, its logic, the results of its panel, its self tests."""
