"""Search in a django-oscar shop: an index of its catalogue, and the widget in its header.

As an app it does all of that. To decide more, subclass ``shopsearch.contrib.oscar.index.OscarImageIndex`` in an
``image_indexes`` of your own and register it: it takes the place of the one here.
"""
