from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shopsearch', '0019_rerank_shared'),
    ]

    operations = [
        migrations.AddField(
            model_name='storedimage',
            name='file_version',
            field=models.CharField(blank=True, db_default='', default='', editable=False, max_length=64),
        ),
    ]
