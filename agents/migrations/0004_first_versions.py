"""Keep what each personality is now as its present version, so that a later change does not lose it."""

from django.db import migrations

CONTENT = (
    "description",
    "strengths",
    "specialties",
    "work_style",
    "communication_style",
    "role_prompt",
    "default_backend",
    "model",
    "flags",
    "argv",
    "max_minutes",
    "max_restarts",
    "grace_seconds",
)


def keep(apps, schema_editor):
    versions = apps.get_model("agents", "PersonalityVersion")
    for personality in apps.get_model("agents", "Personality").objects.all():
        versions.objects.get_or_create(
            personality=personality,
            version=personality.version,
            defaults={"content": {name: getattr(personality, name) for name in CONTENT}, "actor": "system:agents"},
        )


class Migration(migrations.Migration):
    dependencies = [("agents", "0003_workforce")]

    operations = [migrations.RunPython(keep, migrations.RunPython.noop)]
