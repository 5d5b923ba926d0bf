"""Do the derived tables agree with each other? Every sum against its `GROUP BY`, every edge and job against its rows.

`run.verify` is the way in: it reads while writers write, slice by slice, and names the rows that differ. Nothing here
writes, prints or knows a setting.
"""
