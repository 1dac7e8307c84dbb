"""Search in a django-oscar shop: an index of its catalogue, and the widget in its header.

Adding it to INSTALLED_APPS does all of that. To change more, subclass
``shopsearch.contrib.oscar.index.OscarImageIndex`` in an ``image_indexes`` of your own and register it: it replaces the
one here.
"""
