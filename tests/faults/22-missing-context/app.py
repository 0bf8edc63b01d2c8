import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ssm as ssm

app = cdk.App()
s = cdk.Stack(app, "Net", env=cdk.Environment(account="111111111111", region="eu-west-1"))
vpc = ec2.Vpc.from_lookup(s, "V", vpc_id="vpc-0abc")
name = ssm.StringParameter.value_from_lookup(s, "/acme/size")
ec2.CfnInstance(
    s,
    "Host",
    image_id="ami-0123456789abcdef0",
    instance_type="t3.micro",
    subnet_id=vpc.private_subnets[0].subnet_id,
)
cdk.CfnResource(
    s,
    "Db",
    type="AWS::RDS::DBInstance",
    properties={"DBInstanceClass": name, "Engine": "postgres", "AllocatedStorage": "20"},
)
app.synth()
