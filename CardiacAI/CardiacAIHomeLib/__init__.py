"""Parts of the module Cardiac AI: the accelerator's installation and the self tests of both panels."""
