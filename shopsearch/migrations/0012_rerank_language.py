from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shopsearch', '0011_related_changes'),
    ]

    operations = [
        migrations.AddField(
            model_name='rerank',
            name='language',
            field=models.CharField(blank=True, max_length=20, verbose_name='language'),
        ),
    ]
