from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shopsearch', '0017_pictureless_products'),
    ]

    operations = [
        migrations.AddField(
            model_name='rerank',
            name='reasons',
            field=models.JSONField(default=list, verbose_name='reasons'),
        ),
    ]
