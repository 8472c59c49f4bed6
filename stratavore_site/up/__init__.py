"""`manage.py up`: servers, migrations, demo data and every process of Stratavore, as one process tree.

    command     the arguments, and the order of things
    ground      what must be true of this machine first
    choice      which servers, and what the settings become
    crew        the children: start, watch, restart, stop
    roles       what each child runs
    preparation migrations, the admin user
    demo        a repository, a runner in it, and a board of jobs that three agents take
    readiness   waiting for /health/ready

Only `roles`, `preparation` and `demo` know Django; its settings exist once `choice` has run.
"""
