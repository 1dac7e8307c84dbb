"""The search page that comes with shopsearch, with and without JavaScript."""
