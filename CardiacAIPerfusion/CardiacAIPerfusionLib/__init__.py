"""Parts of the module Cardiac AI Perfusion."""
