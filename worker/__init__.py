"""The Celery application over the library: many machines, one database.

Messages are hints and the database is the truth (see ``tagger.library``); what is here gets them
across, keeps processes alive, and shows what they do.
"""
