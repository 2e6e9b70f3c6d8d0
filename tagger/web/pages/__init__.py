"""The pages that people see: one file for each, over the same use cases as the API.

A page is rendered here, whole or, for htmx, the part of it that changes; every form works without a script too.
"""
