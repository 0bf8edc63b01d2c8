import aws_cdk as cdk
from alpha import Alpha
from beta import Beta

app = cdk.App(builtin_cloud_formation_validation=False)
Alpha(app, "Alpha")
Beta(app, "Beta")
app.synth()
